"""HelpSteer3: preferences of people with a strength from 1 to 3."""
