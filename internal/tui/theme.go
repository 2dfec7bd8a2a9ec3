package tui

// style names what a piece of text is; a theme says how that looks.
type style uint8

const (
	sNormal style = iota
	sDim
	sBold
	sBar       // title and footer
	sBarStrong // the tab at hand
	sBarDim
	sHead
	sHeadSort
	sNew
	sChanged
	sFresh // a value that changed
	sClosed
	sGood
	sListen
	sWarn
	sBad
	sAccent
	sKey
	sBanner
	sReceive
	sSend
	sHeat1
	sHeat2
	sHeat3
	sHeat4
	sHeat5
	numStyles
)

// theme holds the parameters of SGR (ECMA-48, 8.3.117) of each style, without
// the leading reset.
type theme struct {
	name string
	sgr  [numStyles]string
	// selected is added to every style on the line of the cursor.
	selected string
}

// themes are those that the user can go through.
var themes = []*theme{themeDark, themeLight, themeContrast, themeMono}

var themeDark = &theme{
	name: "dark",
	sgr: [numStyles]string{
		sDim: "38;5;244", sBold: "1",
		sBar: "38;5;252;48;5;236", sBarStrong: "1;38;5;231;48;5;24", sBarDim: "38;5;246;48;5;236",
		sHead: "1;38;5;110", sHeadSort: "1;4;38;5;117",
		sNew: "38;5;114", sChanged: "38;5;221", sFresh: "38;5;229", sClosed: "38;5;203",
		sGood: "38;5;114", sListen: "38;5;80", sWarn: "38;5;221", sBad: "1;38;5;203",
		sAccent: "38;5;117", sKey: "1;38;5;222", sBanner: "38;5;234;48;5;221",
		sReceive: "38;5;80", sSend: "38;5;176",
		sHeat1: "38;5;24", sHeat2: "38;5;31", sHeat3: "38;5;37", sHeat4: "38;5;179", sHeat5: "38;5;209",
	},
	selected: "48;5;238",
}

var themeLight = &theme{
	name: "light",
	sgr: [numStyles]string{
		sDim: "38;5;243", sBold: "1",
		sBar: "38;5;236;48;5;253", sBarStrong: "1;38;5;231;48;5;25", sBarDim: "38;5;241;48;5;253",
		sHead: "1;38;5;25", sHeadSort: "1;4;38;5;25",
		sNew: "38;5;28", sChanged: "38;5;130", sFresh: "38;5;94", sClosed: "38;5;160",
		sGood: "38;5;28", sListen: "38;5;30", sWarn: "38;5;130", sBad: "1;38;5;160",
		sAccent: "38;5;25", sKey: "1;38;5;130", sBanner: "38;5;231;48;5;130",
		sReceive: "38;5;30", sSend: "38;5;90",
		sHeat1: "38;5;153", sHeat2: "38;5;111", sHeat3: "38;5;68", sHeat4: "38;5;172", sHeat5: "38;5;160",
	},
	selected: "48;5;254",
}

// Of terminals with sixteen colors: the nearest of them would often be another
// color altogether.
var (
	themeDark16 = &theme{
		name: "dark",
		sgr: [numStyles]string{
			sDim: "90", sBold: "1",
			sBar: "30;47", sBarStrong: "1;97;44", sBarDim: "30;47",
			sHead: "1;94", sHeadSort: "1;4;96",
			sNew: "92", sChanged: "93", sFresh: "97", sClosed: "91",
			sGood: "32", sListen: "36", sWarn: "93", sBad: "1;91",
			sAccent: "96", sKey: "1;93", sBanner: "30;43",
			sReceive: "36", sSend: "35",
			sHeat1: "34", sHeat2: "36", sHeat3: "32", sHeat4: "33", sHeat5: "31",
		},
		selected: "44",
	}
	themeLight16 = &theme{
		name: "light",
		sgr: [numStyles]string{
			sDim: "90", sBold: "1",
			sBar: "97;100", sBarStrong: "1;97;44", sBarDim: "37;100",
			sHead: "1;34", sHeadSort: "1;4;34",
			sNew: "32", sChanged: "35", sFresh: "1", sClosed: "31",
			sGood: "32", sListen: "36", sWarn: "35", sBad: "1;31",
			sAccent: "34", sKey: "1;35", sBanner: "97;45",
			sReceive: "36", sSend: "35",
			sHeat1: "36", sHeat2: "34", sHeat3: "32", sHeat4: "35", sHeat5: "31",
		},
		selected: "47",
	}
)

// with returns the theme for a number of colors.
func (t *theme) with(colors Colors) *theme {
	switch {
	case colors == NoColors:
		return themeMono
	case colors < Colors256 && t == themeDark:
		return themeDark16
	case colors < Colors256 && t == themeLight:
		return themeLight16
	}
	return t
}

var themeContrast = &theme{
	name: "contrast",
	sgr: [numStyles]string{
		sNormal: "97;40", sDim: "37;40", sBold: "1;97;40",
		sBar: "1;30;107", sBarStrong: "1;97;44", sBarDim: "30;107",
		sHead: "1;4;97;40", sHeadSort: "1;7;97;40",
		sNew: "1;92;40", sChanged: "1;93;40", sFresh: "93;40", sClosed: "1;91;40",
		sGood: "1;92;40", sListen: "1;96;40", sWarn: "1;93;40", sBad: "1;97;41",
		sAccent: "1;96;40", sKey: "1;93;40", sBanner: "1;30;103",
		sReceive: "1;96;40", sSend: "1;95;40",
		sHeat1: "94;40", sHeat2: "96;40", sHeat3: "92;40", sHeat4: "93;40", sHeat5: "91;40",
	},
	selected: "7",
}

var themeMono = &theme{
	name: "mono",
	sgr: [numStyles]string{
		sDim: "2", sBold: "1",
		sBar: "7", sBarStrong: "1", sBarDim: "7",
		sHead: "1", sHeadSort: "1;4",
		sNew: "1", sClosed: "2",
		sBad: "1", sAccent: "1", sKey: "1", sBanner: "7",
	},
	selected: "7",
}

func themeByName(name string) *theme {
	for _, t := range themes {
		if t.name == name {
			return t
		}
	}
	return nil
}

// nextTheme returns the one after t, by name.
func nextTheme(t *theme) *theme {
	for i := range themes {
		if themes[i].name == t.name {
			return themes[(i+1)%len(themes)]
		}
	}
	return themes[0]
}
